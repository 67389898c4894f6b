-- What the app writes to a counter that was to be readable only goes through, and is booked by nobody.
select pg_temp.mutate('read-only-is-refused', '''refuse''', '''note''');
