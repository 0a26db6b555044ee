//! Rows that change partitions.

use datafusion::physical_plan::Partitioning;
use datafusion::physical_plan::repartition::RepartitionExec;

use super::{Estimator, Node, weights};

impl Estimator<'_> {
    /// Batches that change threads.
    pub(super) fn hand_on(&self, input: Node) -> Node {
        let batches = (input.relation.rows / self.batch_rows).ceil();
        Node {
            total: input.total + batches * self.constants.parallel_tuple_cost,
            ..input
        }
    }

    /// Rows that go to the partition of their hash are looked at one by one and copied.
    pub(super) fn repartition(&self, repartition: &RepartitionExec, input: Node) -> Node {
        let operations = match repartition.partitioning() {
            Partitioning::Hash(keys, _) => {
                let relation = &input.relation;
                let keys = keys.iter().map(|key| {
                    let key = key.as_ref();
                    weights::hashed(relation.kind(key)) + relation.operators(key)
                });
                relation.rows * keys.sum::<f64>() + relation.copying()
            }
            _ => 0.0,
        };
        let cost = operations * self.constants.cpu_operator_cost;
        let node = self.hand_on(input);
        Node {
            total: node.total + cost,
            ..node
        }
    }
}
