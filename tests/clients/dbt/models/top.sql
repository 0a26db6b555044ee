{{ config(materialized='view') }}

select name from {{ ref('best_customers') }} order by amount desc limit 1
