"""What is measured, and of what an operator is told: documents for Prometheus and Alertmanager. No I/O."""
