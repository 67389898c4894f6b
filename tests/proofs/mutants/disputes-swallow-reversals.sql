-- A dispute takes every reversal that is its own, however much more that is than it was about.
select pg_temp.mutate('no-more-than-disputed', 'coalesce(max(r.most_cents), 0)', 'case when max(r.dispute_id) is null then 0 else sum(r.cents) end');
