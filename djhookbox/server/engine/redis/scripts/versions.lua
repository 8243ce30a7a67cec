-- 3… channels: return the id and version of each, whether the node is among its readers, and the
-- number of members.
local found = {}
for i = 3, #ARGV do
  local base = P .. 'c:' .. #ARGV[i] .. ':' .. ARGV[i]
  local meta = redis.call('HMGET', base .. ':m', 'id', 'version')
  found[#found + 1] = meta[1] or ''
  found[#found + 1] = meta[2] or '0'
  found[#found + 1] = redis.call('HEXISTS', base .. ':r', node)
  found[#found + 1] = redis.call('HLEN', base .. ':p')
end
return {'OK', found}
