-- The replay gives a child what the ledger says, not what it took for the parent.
select pg_temp.mutate('replay-knows-children', $$('hold_split', 'hold_return') then$$, $$('hold_split', 'hold_return') and false then$$);
