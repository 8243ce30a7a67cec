-- 8 an epoch; 9 seconds of recovery; 10 whether there would be a history; 11 milliseconds to keep
-- the position of one. Returns the position of a channel's stream.
if leaseless() then return {'LEASE'} end
local meta = redis.call('HMGET', META, 'id', 'run')
if meta[1] and meta[2] == run then
  local s = redis.call('HMGET', STREAM, 'epoch', 'offset')
  return {'OK', s[1] or '', s[2] or '0'}
end
local now, recovery = tonumber(at), tonumber(ARGV[9])
local brief = ARGV[10] ~= '1'
if redis.call('EXISTS', STREAM) == 0 or is_over(now) then
  begin_stream(ARGV[8])
  redis.call('HSET', STREAM, 'recovery', ARGV[9])
else
  brief = brief and redis.call('HGET', STREAM, 'brief') == '1'
end
local awaited = math.max(tonumber(redis.call('HGET', STREAM, 'awaited') or 0), now + recovery)
redis.call('HSET', STREAM, 'awaited', string.format('%.6f', awaited), 'brief', brief and '1' or '0')
local keep = math.ceil((awaited - now) * 1000)
if not brief then keep = math.max(keep, tonumber(ARGV[11])) end
for _, key in ipairs({STREAM, LOG}) do
  if redis.call('PTTL', key) < keep then redis.call('PEXPIRE', key, keep) end
end
local s = redis.call('HMGET', STREAM, 'epoch', 'offset')
return {'OK', s[1], s[2]}
