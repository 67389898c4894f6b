-- A catalogue overrules the price that a person has set.
select pg_temp.mutate('manual-prices-win', 'v_before.source = ''manual''', 'false');
