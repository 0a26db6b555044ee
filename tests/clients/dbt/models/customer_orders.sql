{{ config(materialized='view') }}

-- One row for each customer, those without orders too.
select
    c.id as customer_id,
    c.name,
    year(c.born) as born_in,
    count(o.id) as orders,
    nvl(sum(o.amount), 0) as amount
from {{ ref('customers') }} c
left join {{ ref('orders') }} o on o.customer_id = c.id
group by c.id, c.name, c.born
