-- can_spend_tokens counts all tokens, whatever they pay for.
select pg_temp.mutate('asked-what-pays', 'v_account.restricted_until > v_now', 'false');
