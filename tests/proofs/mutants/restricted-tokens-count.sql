-- Tokens of grants that do not pay for a use count as there for it.
select pg_temp.mutate('restricted-do-not-count', 'v_payable < tokens', 'false');
