-- Does not find the renewal that began a period anew whose first payment was refunded.
select pg_temp.mutate('renewed-after-a-refund', '');
