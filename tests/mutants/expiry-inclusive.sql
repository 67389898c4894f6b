-- Off by one instant: at expires_at itself the grant still counts and is still spent.
select pg_temp.mutate('private.tokens_due', 'b.expires_at <= p_now', 'b.expires_at < p_now');
