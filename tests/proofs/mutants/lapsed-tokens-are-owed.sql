-- Takes the whole share of a refund, whatever of it nobody has any more.
select pg_temp.mutate('nobody-owes-what-lapsed', 'tokenbook.lapsed_tokens(v_was) - v_was.tokens_lapsed', '0');
