-- Nobody is told that a payment which waited has been booked: the alert of it stays open for ever.
select pg_temp.mutate('bookings-end-their-alert', '\& and false');
