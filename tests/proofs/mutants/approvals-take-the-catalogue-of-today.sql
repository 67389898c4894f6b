-- An approval gives what the catalogue says by then, and not what was asked for and paid.
select pg_temp.mutate('tokens-as-asked', '');
select pg_temp.mutate('packs-as-asked', 'v_grant.tokens_granted := (select p.tokens from public.token_packs p where p.pack_type = p_payment.pack_type) * p_payment.quantity;');
