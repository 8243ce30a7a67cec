-- Drop the stream of a channel that is not open, unless clients may return to it.
if leaseless() then return {'LEASE'} end
local meta = redis.call('HMGET', META, 'id', 'run')
if meta[1] and meta[2] == run then return {'OK', '1'} end
local s = redis.call('HMGET', STREAM, 'awaited', 'run')
if s[2] == run and tonumber(at) < tonumber(s[1] or 0) then
  redis.call('HSET', STREAM, 'brief', '1')
  return {'OK', '0'}
end
drop_stream()
return {'OK', '1'}
