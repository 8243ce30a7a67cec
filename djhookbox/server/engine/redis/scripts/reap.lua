-- Remove a node without a lease from a channel. 8 that node. Returns the users that have left.
if leaseless() then return {'LEASE'} end
local dead = ARGV[8]
if redis.call('EXISTS', P .. 'n:' .. dead) == 1 then return {'ALIVE'} end
redis.call('HDEL', READERS, dead)
redis.call('SREM', P .. 'r:' .. dead, name)
if redis.call('GET', POLLER) == dead then redis.call('DEL', POLLER) end
local meta = redis.call('HMGET', META, 'id', 'run', 'keeps', 'remembers')
if not meta[1] or meta[2] ~= run then return {'OK'} end
id, keeps, remembers = meta[1], tonumber(meta[3]), meta[4] == '1'
local caller, left = node, {}
node = '' -- the caller is told as well, as any reader
local members = redis.call('HGETALL', PRESENCE)
for i = 1, #members, 2 do
  local m = member(members[i + 1])
  if includes(m.nodes, dead) then
    m.nodes = remove_node(m.nodes, dead)
    local version = advance()
    if m.nodes == '' then
      redis.call('HDEL', PRESENCE, members[i])
      if remembers then remember('U;' .. at .. ';' .. members[i]) end
      left[#left + 1] = members[i]
    else
      store_member(members[i], m)
    end
    local emptied = redis.call('EXISTS', PRESENCE) == 0 and '1' or '0'
    tell(version, 'L', table.concat({at, dead, '0', emptied}, ' '), members[i])
  end
end
node = caller
return {'OK', left, redis.call('EXISTS', PRESENCE) == 0 and '1' or '0'}
