-- Counts Stripe's refunds as a part of disputes too, which are about other money there.
select pg_temp.mutate('refunds-of-lost-disputes', 'p_provider = ''paypal''', 'true');
