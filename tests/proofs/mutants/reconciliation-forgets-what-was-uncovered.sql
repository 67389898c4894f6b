-- Takes what no grant paid for as deducted: false alarms for every partial deduction.
select pg_temp.mutate('tokenbook.audit_trail', '-(abs(c.tokens_used) - c.tokens_uncovered)', '-abs(c.tokens_used)');
