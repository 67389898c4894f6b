-- Off by one instant: at expires_at itself the grant still counts and is still spent.
select pg_temp.mutate('tokenbook.tokens_due', 'b.is_open and b.expires_at <= p_now', 'b.is_open and b.expires_at < p_now');
