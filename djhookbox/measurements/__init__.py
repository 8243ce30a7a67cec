"""What the processes have counted, for the charts of the admin."""
