-- Open a channel for the calling node: add it to the readers, and return everything.
-- 8 mode: create, restore or attach (only if it exists); 9 options; 10 entries of the history to
-- keep; 11 whether there is a stream; 12 its duration; 13 an epoch; 14 seconds of recovery;
-- 15 bytes of the stream; 16 whether presence is remembered; 17 whether 9 sets the history;
-- 18 number of state keys, then keys and values; number of history entries, then these.
if leaseless() then return {'LEASE'} end
local meta = redis.call('HMGET', META, 'id', 'run')
if meta[1] and meta[2] ~= run then
  -- This Redis has lost data since: nothing of the channel can be trusted.
  redis.call('DEL', META, READERS, PRESENCE, STATE, HISTORY, STREAM, LOG, POLLER)
  meta[1] = false
end
local created = '0'
if not meta[1] then
  if ARGV[8] == 'attach' then return {'NONE'} end
  created = '1'
  local now = redis.call('TIME')
  -- Later lives of a name go on with greater versions.
  id = string.format('%.0f', tonumber(now[1]) * 1000000 + tonumber(now[2]))
  redis.call('DEL', READERS, PRESENCE, STATE, HISTORY, POLLER)
  redis.call('HSET', META, 'id', id, 'run', run, 'version', id, 'options', ARGV[9],
    'changed', id, 'keeps', ARGV[10], 'remembers', ARGV[16], 'at', at)
  local place = 18
  local count = tonumber(ARGV[place])
  for i = 1, count do
    redis.call('HSET', STATE, ARGV[place + 2 * i - 1],
      id .. '.' .. string.format('%06d', i) .. ';' .. ARGV[place + 2 * i])
  end
  place = place + 2 * count + 1
  if ARGV[11] == '1' then
    if is_over(tonumber(at)) then
      begin_stream(ARGV[13])
    else
      trim(tonumber(at)) -- as it was kept
    end
    redis.call('HSET', STREAM, 'size', ARGV[10], 'duration', ARGV[12], 'most', ARGV[15],
      'recovery', ARGV[14])
    redis.call('HDEL', STREAM, 'until', 'brief')
  else
    drop_stream()
  end
  keeps = tonumber(ARGV[10])
  if ARGV[17] == '1' then
    for i = 1, tonumber(ARGV[place]) do remember(ARGV[place + i]) end
  elseif ARGV[11] == '1' and tonumber(ARGV[12]) > 0 then
    -- The publications of a former channel belong to the history of a new one.
    local offset, count = tonumber(redis.call('HGET', STREAM, 'offset')), redis.call('LLEN', LOG)
    for i = 1, count do remember('P;' .. text(offset - count + i)) end
  end
else
  id = meta[1]
  if redis.call('EXISTS', STREAM) == 1 then trim(tonumber(at)) end
  if ARGV[8] == 'create' then tell(advance(), 'Z', at, '') end
end
redis.call('HSET', READERS, node, '0')
redis.call('SADD', P .. 'r:' .. node, name)
touch(META, READERS, PRESENCE, STATE, HISTORY, STREAM, LOG, P .. 'r:' .. node)
return {'OK', created, redis.call('HMGET', META, 'id', 'version', 'changed', 'options', 'at'),
  redis.call('HGETALL', PRESENCE), redis.call('HGETALL', STATE),
  redis.call('LRANGE', HISTORY, 0, -1), redis.call('HMGET', STREAM, 'epoch', 'offset'),
  redis.call('LRANGE', LOG, 0, -1)}
