-- A small request as a chat sends it, and what wrk is to print of a run: requests, microseconds that it took, latencies
-- (microseconds: the median, and what 99 of 100 stay below), and what went wrong.
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer sk-none"
wrk.body = '{"model":"fake","messages":[{"role":"system","content":"You are terse."},' ..
    '{"role":"user","content":"What does every project need?"}]}'

function done(summary, latency)
    local errors = summary.errors
    local wrong = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    io.write(string.format("run %d %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(50),
        latency:percentile(99), wrong))
end
