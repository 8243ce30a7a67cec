-- 8 milliseconds: hold the right to poll a channel, unless another node does, or it has been polled
-- and that was all. 9 whether it has been polled now, and that was all.
local refused = refuse()
if refused then return refused end
if ARGV[9] == '1' then
  redis.call('HSET', META, 'polled', '1')
  return {'OK', '2'}
end
if redis.call('HEXISTS', META, 'polled') == 1 then return {'OK', '2'} end
local holder = redis.call('GET', POLLER)
if holder and holder ~= node and redis.call('EXISTS', P .. 'n:' .. holder) == 1 then
  return {'OK', '0'}
end
redis.call('SET', POLLER, node, 'PX', ARGV[8])
return {'OK', '1'}
