"""Client connections and the operations of clients."""
