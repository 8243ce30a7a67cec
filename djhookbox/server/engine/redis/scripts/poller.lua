-- 8 milliseconds: hold the right to poll a channel, unless another node does.
local refused = refuse()
if refused then return refused end
local holder = redis.call('GET', POLLER)
if holder and holder ~= node and redis.call('EXISTS', P .. 'n:' .. holder) == 1 then
  return {'OK', '0'}
end
redis.call('SET', POLLER, node, 'PX', ARGV[8])
return {'OK', '1'}
