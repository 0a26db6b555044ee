{{ config(materialized='table', stored_as='parquet') }}

select
    customer_id,
    name,
    amount,
    orders / 2 as half,
    {{ dbt.hash('name') }} as name_hash
from {{ ref('customer_orders') }}
where amount > 0
