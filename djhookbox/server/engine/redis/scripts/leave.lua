-- 8 user; 9 whether the node's connections leave (or only what follows); 10 the subscription is
-- no longer for all connections.
local refused = refuse()
if refused then return refused end
local value = redis.call('HGET', PRESENCE, ARGV[8])
if not value then return answer('') end
local m = member(value)
if ARGV[9] == '1' then
  if not includes(m.nodes, node) then return answer('') end
  m.nodes = remove_node(m.nodes, node)
end
if ARGV[10] == '1' then m.shared = '0' end
local version = advance()
local last = '0'
if m.nodes == '' then
  last = '1'
  redis.call('HDEL', PRESENCE, ARGV[8])
  if remembers then remember('U;' .. at .. ';' .. ARGV[8]) end
else
  store_member(ARGV[8], m)
end
local emptied = redis.call('EXISTS', PRESENCE) == 0 and '1' or '0'
tell(version, 'L', table.concat({at, ARGV[9] == '1' and node or '-', ARGV[10], emptied}, ' '),
  ARGV[8])
return answer(version, last)
