-- Who paid once loses it when a subscription of theirs to the same plan ends.
select pg_temp.mutate('single-payments-stand-alone', 'v_is_single', 'false');
