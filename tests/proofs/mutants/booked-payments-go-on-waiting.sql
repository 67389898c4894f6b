-- Nobody is told that a payment which waited has been booked: the alert of it stays open for ever.
<<<<<<< HEAD
select pg_temp.mutate('booking-ends-alert', '\& and false');
=======
select pg_temp.mutate('bookings-end-their-alert', '\& and false');
>>>>>>> w-told
