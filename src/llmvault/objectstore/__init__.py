"""Object stores that speak S3: versions, Object Lock, lifecycle. The only user of boto3."""
