-- What has been made, for check_token_installation to compare with what is there later.
select tokenbook.declare_shape();
