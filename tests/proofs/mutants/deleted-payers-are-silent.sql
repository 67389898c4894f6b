-- Says nothing of payments that are booked for deleted users.
select pg_temp.mutate('deleted-payers-are-told', 'when false');
