-- Off by one instant: at expires_at itself the grant still counts and is still spent.
select pg_temp.mutate('gone-at-expires-at', '<=', '<');
