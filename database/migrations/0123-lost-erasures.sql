-- Erasures whose run was lost are found by whoever keeps watch over all organisations.
call hal9_system_access('erasures', 'select');
create index erasures_unended on erasures (requested_at) where finished_at is null or (state = 'complete' and receipt is null);
