"""The engine for several nodes: channels and users are replicated through Redis or Valkey.

Each channel is a replicated state machine. A script changes its keys, gives the change the next
version of the channel, and sends it to the numbered inbox of every other node that reads the
channel. All nodes apply the changes in the order of their versions.

What other parts of the server can build on:

- `RedisEngine.node` is the id of this start of a node (its boot id); it is the name under which
  Redis has the node's lease, inbox, channels and users. Nothing of a former start is taken over.
- `RedisEngine.nodes.known` are all nodes, by id, as of the last heartbeat (every second): what each
  says about itself (`about`: address, process id, version, counts) and whether it has a lease.
- `RedisEngine.peers.ask()` makes a call on other nodes and returns their answers; a new kind of
  call is registered with `RedisEngine.peers.answers`. REST calls use it (`rest.elsewhere`). CSP
  requests are passed on over HTTP instead (`transports.forwarding`).
- `RedisEngine.figures` counts reconnects, versions missed, snapshots reloaded and leases lost.

Keys (all names have their length in front of them, so that no name can imitate another's keys):

- `n:NODE` is a lease, `nodes` has what nodes say about themselves, `i:NODE` is the number of the
  last message to a node's inbox, and the pub/sub channel of that inbox; `r:NODE` and `v:NODE` are
  the channels and users that must be cleaned up after the node.
- `c:LENGTH:NAME:…` is a channel: m (id, version, options), r (readers, with the number of their
  connections), p (members), s (state), h (history), o (stream), l (publications), q (poller).
- `u:LENGTH:NAME` is a user: nodes, options, and channels joined by all connections.
- `o:NODE:…` and `k:…` are results by operation key, and by a key that code gave.
"""
