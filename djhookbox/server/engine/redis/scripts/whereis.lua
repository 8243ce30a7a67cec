-- Return the living nodes of a user.
return {'OK', nodes_of_user()}
