-- 8 the change, for the other nodes; 9 all options after it; 10 the version of the options that
-- 9 was made from; 11 entries of the history to keep; 12 whether there is a stream; 13 its duration;
-- 14 an epoch; 15 bytes of the stream; 16 whether presence is remembered; 17 whether the state is
-- replaced; 18 whether the history is; 19 number of state keys, then keys and values; number of
-- history entries, then these; last, seconds of recovery.
local refused = refuse()
if refused then return refused end
if redis.call('HGET', META, 'changed') ~= ARGV[10] then return {'STALE'} end
local version = advance()
redis.call('HSET', META, 'options', ARGV[9], 'changed', version, 'keeps', ARGV[11],
  'remembers', ARGV[16])
-- A channel that has been polled once is polled again: nodes begin anew as well.
if string.find(ARGV[8], '"polling"', 1, true) then redis.call('HDEL', META, 'polled') end
local count = tonumber(ARGV[19])
if ARGV[17] == '1' then
  redis.call('DEL', STATE)
  for i = 1, count do
    local key = ARGV[18 + 2 * i]
    local order = version .. '.' .. string.format('%06d', i)
    redis.call('HSET', STATE, key, order .. ';' .. ARGV[19 + 2 * i])
  end
end
local place = 20 + 2 * count
keeps = tonumber(ARGV[11])
if ARGV[18] == '1' then
  redis.call('DEL', HISTORY)
  for i = 1, tonumber(ARGV[place]) do remember(ARGV[place + i]) end
elseif keeps > 0 then
  redis.call('LTRIM', HISTORY, -keeps, -1)
else
  redis.call('DEL', HISTORY)
end
local began = ''
if ARGV[12] == '1' then
  if redis.call('HEXISTS', STREAM, 'epoch') == 0 then
    begin_stream(ARGV[14])
    began = ARGV[14]
  end
  redis.call('HSET', STREAM, 'size', ARGV[11], 'duration', ARGV[13], 'most', ARGV[15],
    'recovery', ARGV[#ARGV])
  trim(tonumber(at))
else
  drop_stream()
end
touch(META, STATE, HISTORY, STREAM, LOG)
tell(version, 'O', at .. ' ' .. (began ~= '' and began or '-'), ARGV[8])
return answer(version, began)
