alter table orders add column processed_at timestamptz, add column processed_by text;
create index orders_waiting on orders (id) where processed_at is null;
