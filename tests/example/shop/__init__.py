"""A small shop: mails for orders, by an NSQ client; articles from the shelf, by nsqlite itself."""
