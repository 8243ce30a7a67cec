-- A user has a connection here: 3 the options of the latest connect.
if leaseless() then return {'LEASE'} end
local first = #nodes_of_user() == 0 and '1' or '0'
redis.call('HSET', USER, 'n' .. node, '1', 'o', ARGV[3])
redis.call('SADD', P .. 'v:' .. node, name)
redis.call('PEXPIRE', USER, ttl)
redis.call('PEXPIRE', P .. 'v:' .. node, ttl)
tell('O', '-', ARGV[3])
local entered = {}
local fields = redis.call('HGETALL', USER)
for i = 1, #fields, 2 do
  local channel = string.match(fields[i], '^c(.*)$')
  if channel then entered[#entered + 1] = {tonumber(fields[i + 1]), channel} end
end
table.sort(entered, function(one, two)
  if one[1] ~= two[1] then return one[1] < two[1] end
  return one[2] < two[2]
end)
local channels = {}
for i, each in ipairs(entered) do channels[i] = each[2] end
return {'OK', first, watched(), channels}
