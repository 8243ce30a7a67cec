-- 8 whether only if there are no subscribers; 9 seconds to keep publications without a duration;
-- 10 when the last subscriber left, or 0; 11 milliseconds to keep a history.
local refused = refuse()
if refused then return refused end
if ARGV[8] == '1' and redis.call('EXISTS', PRESENCE) == 1 then return {'VOID'} end
local version = advance()
tell(version, 'X', at, '')
for _, reader in ipairs(redis.call('HKEYS', READERS)) do
  redis.call('SREM', P .. 'r:' .. reader, name)
end
redis.call('DEL', META, READERS, PRESENCE, STATE, HISTORY, POLLER)
if redis.call('EXISTS', STREAM) == 1 then
  local s = redis.call('HMGET', STREAM, 'size', 'recovery', 'awaited')
  local now, left = tonumber(at), tonumber(ARGV[10])
  local awaited = tonumber(s[3] or 0)
  if left > 0 then awaited = math.max(awaited, left + tonumber(s[2] or 0)) end
  local keep = math.ceil((awaited - now) * 1000)
  local brief = tonumber(s[1] or 0) <= 0
  if not brief then keep = math.max(keep, tonumber(ARGV[11])) end
  if keep > 0 then
    -- As text: numbers of Lua would lose microseconds.
    redis.call('HSET', STREAM, 'until', string.format('%.6f', now + tonumber(ARGV[9])),
      'awaited', string.format('%.6f', awaited), 'brief', brief and '1' or '0')
    redis.call('PEXPIRE', STREAM, keep)
    redis.call('PEXPIRE', LOG, keep)
  else
    drop_stream()
  end
end
return answer(version)
