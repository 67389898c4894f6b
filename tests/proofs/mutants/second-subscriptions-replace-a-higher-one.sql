-- A payment for a lower plan takes the higher one, which is paid, out of force.
select pg_temp.mutate('higher-rank-stays', 'is null end, false);');
