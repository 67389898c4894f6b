-- Takes what no grant paid for as deducted: false alarms for every partial deduction.
select pg_temp.mutate('uncovered-not-deducted', 'else -abs(c.tokens_used)');
