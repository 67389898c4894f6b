-- A reversal is any dispute's, though that was over when it came, and about another amount.
select pg_temp.mutate('reversals-of-open-disputes', 'd.was = ''open''', 'true');
