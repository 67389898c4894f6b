select pg_temp.mutate('counters-are-examined', 'then e.fault', 'then null');
