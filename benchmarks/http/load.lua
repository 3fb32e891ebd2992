-- For wrk: POSTs the bytes of a file, or GETs where none is named, and tells what came of it as JSON.

function init(arguments)
  if arguments[1] then
    local file = assert(io.open(arguments[1], "rb"))
    wrk.method = "POST"
    wrk.body = file:read("*a")
    file:close()
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('{"requests":%d,"seconds":%f,"bytes":%d,"failed":%d}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, failed))
end
