-- Takes what PayPal tells as a refund and as the outcome of a dispute twice.
select pg_temp.mutate('refunds-of-lost-disputes', 'p_provider = ''paypal''', 'false');
