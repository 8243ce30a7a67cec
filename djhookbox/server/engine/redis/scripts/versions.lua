-- 3… channels: return the id and version of each, and whether the node is among its readers.
local found = {}
for i = 3, #ARGV do
  local base = P .. 'c:' .. #ARGV[i] .. ':' .. ARGV[i]
  local meta = redis.call('HMGET', base .. ':m', 'id', 'version')
  found[#found + 1] = meta[1] or ''
  found[#found + 1] = meta[2] or '0'
  found[#found + 1] = redis.call('HEXISTS', base .. ':r', node)
end
return {'OK', found}
