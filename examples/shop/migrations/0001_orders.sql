create table orders (
    id         bigint generated always as identity primary key,
    item       text not null check (item <> ''),
    quantity   integer not null check (quantity > 0),
    created_at timestamptz not null default now()
);
