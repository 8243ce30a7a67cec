-- 8 user; 9 whether for all connections of the user; 10 whether made by code.
local refused = refuse()
if refused then return refused end
local version = advance()
local value = redis.call('HGET', PRESENCE, ARGV[8])
local m, first
if value then
  m, first = member(value), '0'
  if not includes(m.nodes, node) then m.nodes = m.nodes .. ',' .. node end
  if ARGV[9] == '1' then m.shared = '1' end
  if ARGV[10] == '1' then m.code = '1' end
else
  m = {order = version, since = at, shared = ARGV[9], code = ARGV[10], nodes = node}
  first = '1'
  if remembers then remember('S;' .. at .. ';' .. ARGV[8]) end
end
store_member(ARGV[8], m)
redis.call('PEXPIRE', PRESENCE, ttl)
tell(version, 'J', table.concat({at, node, ARGV[9], ARGV[10]}, ' '), ARGV[8])
return answer(version, first)
