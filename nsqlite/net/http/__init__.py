"""HTTP as nsqd and nsqlookupd speak it, on aiohttp: routes, parameters, bodies and answers to the byte."""
