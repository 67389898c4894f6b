-- What a child does not use goes to the grants, though its parent is open.
select pg_temp.mutate('children-give-back', 'elsif false then');
