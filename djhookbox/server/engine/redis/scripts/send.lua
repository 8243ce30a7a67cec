-- Send a message to nodes: 3 its kind; 4 its number; 5 the message; 6… the nodes, or none for all
-- others with a lease. Returns the nodes that it was sent to.
if leaseless() then return {'LEASE'} end
local message = table.concat({'N', ARGV[3], node, ARGV[4]}, ' ') .. '\n' .. ARGV[5]
local targets = {}
for i = 6, #ARGV do targets[#targets + 1] = ARGV[i] end
if #targets == 0 then targets = redis.call('HKEYS', P .. 'nodes') end
local sent = {}
for _, other in ipairs(targets) do
  if other ~= node and redis.call('EXISTS', P .. 'n:' .. other) == 1 then
    send(other, message)
    sent[#sent + 1] = other
  end
end
return {'OK', sent}
